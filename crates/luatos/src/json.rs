//! `json`: tables to text and back.

use std::rc::Rc;

use mlua::{Lua, LuaString, Table, Value};
use serde_json::{Map, Number, Value as Json};

use crate::api::{Args, Fault, Library};
use crate::limits;
use crate::machine::Machine;

pub(crate) fn install(lua: &Lua, machine: &Rc<Machine>) -> mlua::Result<()> {
    let json = Library::open(lua, machine, "json")?;
    json.value("null", Value::NULL)?;
    json.function("encode", |_, args| match of(&args.value(1), 0) {
        Ok(value) => args.returns(text(&value, digits(args)?)),
        Err(why) => args.returns((Value::Nil, why)),
    })?;
    json.function("decode", |_, args| {
        let text = args.string(1)?;
        let decoded = serde_json::from_slice::<Json>(&text.as_bytes());
        match decoded {
            Ok(value) => args.returns((to_lua(args.lua, value)?, 1, Value::Nil)),
            Err(error) => args.returns((Value::Nil, 0, error.to_string())),
        }
    })
}

/// `"7f"`: that many digits behind the point.
fn digits(args: &Args<'_>) -> Result<Option<usize>, Fault> {
    let format = args.opt_string(2)?.map(|format| format.to_string_lossy());
    Ok(format.and_then(|format| format.trim_end_matches(['f', 'g']).parse().ok()))
}

fn of(value: &Value, depth: usize) -> Result<Json, String> {
    if depth > limits::JSON_DEPTH_MAX {
        return Err("the table is too deep, or has itself in it".to_owned());
    }
    Ok(match value {
        Value::Nil => Json::Null,
        null if null.is_null() => Json::Null,
        Value::Boolean(is) => Json::Bool(*is),
        Value::Integer(n) => Json::from(*n),
        Value::Number(n) => {
            let number = Number::from_f64(*n).ok_or_else(|| format!("{n} is no number of JSON"))?;
            Json::Number(number)
        }
        Value::String(string) => Json::String(utf8(string)?),
        Value::Table(table) => of_table(table, depth)?,
        other => return Err(format!("a {} has no form in JSON", other.type_name())),
    })
}

fn utf8(string: &LuaString) -> Result<String, String> {
    let text = string.to_str().map_err(|_| "a string is not UTF-8".to_owned())?;
    Ok(text.to_owned())
}

fn of_table(table: &Table, depth: usize) -> Result<Json, String> {
    let length = table.raw_len();
    let said = |error: mlua::Error| error.to_string();
    let pairs = table
        .pairs::<Value, Value>()
        .collect::<Result<Vec<_>, _>>()
        .map_err(said)?;
    if length > 0 && pairs.len() == length {
        let items = (1..=length).map(|n| of(&table.raw_get(n).map_err(said)?, depth + 1));
        return Ok(Json::Array(items.collect::<Result<_, String>>()?));
    }
    let mut map = Map::new();
    for (key, value) in pairs {
        let key = match key {
            Value::String(key) => utf8(&key)?,
            Value::Integer(n) => n.to_string(),
            Value::Number(n) => n.to_string(),
            other => return Err(format!("a {} is no key of JSON", other.type_name())),
        };
        map.insert(key, of(&value, depth + 1)?);
    }
    Ok(Json::Object(map))
}

/// The text, with so many digits behind the point of each number that has one.
fn text(value: &Json, digits: Option<usize>) -> String {
    match (value, digits) {
        (Json::Number(number), Some(digits)) if number.is_f64() => {
            format!("{:.digits$}", number.as_f64().unwrap_or_default())
        }
        (Json::Array(items), Some(_)) => {
            let items: Vec<String> = items.iter().map(|item| text(item, digits)).collect();
            format!("[{}]", items.join(","))
        }
        (Json::Object(map), Some(_)) => {
            let field = |(key, value): (&String, &Json)| {
                format!("{}:{}", Json::String(key.clone()), text(value, digits))
            };
            let fields: Vec<String> = map.iter().map(field).collect();
            format!("{{{}}}", fields.join(","))
        }
        (value, _) => value.to_string(),
    }
}

fn to_lua(lua: &Lua, value: Json) -> mlua::Result<Value> {
    Ok(match value {
        Json::Null => Value::NULL,
        Json::Bool(is) => Value::Boolean(is),
        Json::Number(number) => match number.as_i64() {
            Some(n) => Value::Integer(n),
            None => Value::Number(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::String(lua.create_string(text)?),
        Json::Array(items) => {
            let table = lua.create_table_with_capacity(items.len(), 0)?;
            for item in items {
                table.raw_push(to_lua(lua, item)?)?;
            }
            Value::Table(table)
        }
        Json::Object(map) => {
            let table = lua.create_table_with_capacity(0, map.len())?;
            for (key, item) in map {
                table.raw_set(key, to_lua(lua, item)?)?;
            }
            Value::Table(table)
        }
    })
}
